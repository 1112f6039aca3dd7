FROM scratch
COPY <<E /b
${x?no}
E
