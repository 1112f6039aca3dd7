FROM scratch
ARG p="80:80 81"
EXPOSE $p
