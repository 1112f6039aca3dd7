FROM scratch
EXPOSE 80/ftp
