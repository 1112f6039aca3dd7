FROM scratch AS base
FROM scratch
COPY --from=base /Dockerfile /
