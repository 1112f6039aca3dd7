FROM scratch
ARG f=Dockerfile
COPY $f /
