FROM scratch
EXPOSE 80 90-92/udp
