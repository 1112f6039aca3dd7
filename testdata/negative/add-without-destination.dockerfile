FROM scratch
ADD arg1
