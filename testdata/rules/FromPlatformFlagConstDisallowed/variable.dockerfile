ARG p=linux/amd64
FROM --platform=$p scratch
