
ARG FOO=${FOO:?"custom error"}
FROM scratch
