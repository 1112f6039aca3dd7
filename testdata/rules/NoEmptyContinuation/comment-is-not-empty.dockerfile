FROM scratch
COPY a \
# comment
   /b
