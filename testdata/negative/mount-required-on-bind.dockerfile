FROM scratch
RUN --mount=target=/x,required y
