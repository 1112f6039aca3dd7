FROM nanoserver
RUN --mount=typ=tmpfs echo 1
