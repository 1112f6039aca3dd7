FROM scratch
EXPOSE 80/tcp 8080 8080/udp
