ARG HTTP_PROXY
FROM scratch
ARG version
