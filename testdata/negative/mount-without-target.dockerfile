FROM scratch
RUN --mount=type=cache true
RUN --mount=type=tmpfs,size=1m true
RUN --mount=from=a true
