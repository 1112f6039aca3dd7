FROM scratch
RUN --network=hots x
