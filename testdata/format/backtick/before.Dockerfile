# escape=`
from a
copy   c:\a\   `
 d:\b   `  
   e:\
run dir   `
   c:\
