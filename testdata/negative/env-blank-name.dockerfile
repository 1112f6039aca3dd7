FROM scratch
ENV =arg2
