FROM scratch
ONBUILD COPY --from=a b /c
