FROM scratch
ONBUILD ONBUILD RUN touch foobar
