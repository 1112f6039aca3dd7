FROM scratch
RUN --mount=target=/x,mode=0700 y
