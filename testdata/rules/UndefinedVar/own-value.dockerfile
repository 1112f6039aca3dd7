FROM scratch
ENV a=b$a
ENV a=c$a
