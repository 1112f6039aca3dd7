FROM scratch AS a
COPY --from=b x /
FROM scratch AS b
FROM a
