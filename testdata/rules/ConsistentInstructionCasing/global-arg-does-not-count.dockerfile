arg x=1
arg y=2
arg z=3
FROM scratch
COPY a /b
