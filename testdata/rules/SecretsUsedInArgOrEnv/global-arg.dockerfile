ARG password
FROM scratch
