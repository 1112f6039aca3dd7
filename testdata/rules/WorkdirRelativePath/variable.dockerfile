FROM scratch
ARG dir=/x
WORKDIR $dir
FROM scratch
ARG rel=x
WORKDIR $rel
