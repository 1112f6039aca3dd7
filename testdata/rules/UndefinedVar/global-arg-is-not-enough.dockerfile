ARG foo=1
FROM scratch
COPY $foo /x
