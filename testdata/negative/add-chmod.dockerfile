FROM scratch
ADD --chmod=64a foo /
