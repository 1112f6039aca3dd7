FROM scratch
COPY $foo .
ARG foo=bar
COPY $foo .
