FROM nanoserver
RUN --mount=type=tmp echo 1
