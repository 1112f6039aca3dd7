FROM scratch
ONBUILD COPY --form=a b /c
ONBUILD RUNN x
