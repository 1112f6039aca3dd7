FROM scratch
EXPOSE 2-1
