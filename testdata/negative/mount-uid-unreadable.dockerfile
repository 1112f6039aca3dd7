FROM scratch
RUN --mount=type=cache,target=/x,uid=root y
