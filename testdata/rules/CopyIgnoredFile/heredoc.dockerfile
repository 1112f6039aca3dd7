FROM scratch
COPY <<Dockerfile /
x
Dockerfile
