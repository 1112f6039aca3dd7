FROM scratch
RUN --mount=type=secret,id=x,from=y z
