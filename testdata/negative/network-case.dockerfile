FROM scratch
RUN --network=HOST y
