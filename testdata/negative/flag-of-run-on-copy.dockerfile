FROM scratch
COPY --mount=type=cache,target=/x a b
