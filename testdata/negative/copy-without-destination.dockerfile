FROM scratch
COPY arg1
