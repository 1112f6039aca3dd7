FROM scratch
COPY /Dockerfile /
COPY ../Dockerfile /
COPY a/../Dockerfile /
