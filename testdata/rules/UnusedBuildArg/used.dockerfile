FROM scratch
ARG version
