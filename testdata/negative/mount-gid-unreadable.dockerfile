FROM scratch
RUN --mount=type=cache,target=/x,gid=root y
