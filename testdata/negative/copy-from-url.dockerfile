FROM scratch
COPY http://github.com/moby/buildkit/blob/master/README.md /
