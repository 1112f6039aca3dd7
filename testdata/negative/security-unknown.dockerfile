FROM scratch
RUN --security=insecur x
