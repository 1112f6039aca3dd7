FROM scratch
RUN --mount=type=cache,target=/x,mode=rw y
