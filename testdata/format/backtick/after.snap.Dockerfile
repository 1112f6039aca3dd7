# escape=`
FROM a
COPY c:\a\ `
    d:\b `
    e:\
RUN dir   `
   c:\
