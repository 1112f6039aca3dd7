FROM scratch
ADD https://example.org/Dockerfile /
