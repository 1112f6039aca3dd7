FROM scratch
RUN --mount=target=/x,ro=maybe y
