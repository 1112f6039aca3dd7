FROM scratch AS a
COPY --from=b x /
FROM scratch AS b
COPY --from=a x /
