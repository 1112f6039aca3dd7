FROM scratch
COPY --chmod=64a foo /
