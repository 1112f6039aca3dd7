FROM scratch
RUN --mount=type=ssh,target=/../ x
