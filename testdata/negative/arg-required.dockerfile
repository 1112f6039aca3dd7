
FROM scratch
ARG FOO
ARG BAR=${FOO:?"foo missing"}
