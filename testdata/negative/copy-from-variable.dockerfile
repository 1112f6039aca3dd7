ARG a=b
FROM scratch
ARG a
COPY --from=$a x /
