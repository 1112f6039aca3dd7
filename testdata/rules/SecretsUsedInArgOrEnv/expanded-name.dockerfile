FROM scratch
ARG kind=token
ENV my_$kind=x
