"""What ``--help`` says beyond the options."""

DESCRIPTION = """\
Glacier surface velocity from Landsat-8/9, month by month.

hmavel matches the 15 m panchromatic images (Band 8) of two dates in the frequency domain,
removes the matching error seen on bare ground, states an error for every value, and turns
hundreds of such pairs into one velocity map per glacier and month.
"""

EPILOG = """\
first steps:
  hmavel demo                      a simulated archive, the whole chain, the errors made
  hmavel pair A_B8.TIF B_B8.TIF --out maps
                                   the displacement between two images
  hmavel config > my.toml          every option, explained; edit the paths, then
  hmavel scenes my.toml            see which scenes would be used, and why not the others
  hmavel run my.toml               make the months; run it again to resume

exit status:
  0    done
  1    finished, but some items failed: they are listed, with the command to try them again
  2    nothing was begun or the run could not go on: wrong usage or configuration, another run
       in the output folder, no scene, a disk that cannot be written
  129, 130, 143    stopped by SIGHUP (a closed terminal), Ctrl-C, SIGTERM
"""

DEMO_EPILOG = """\
The archive is written to DIR/archive, the products to DIR/out, one picture per glacier to
DIR. About 2 minutes on 2 cores.

columns of the table (m/yr unless said; over the ice, all months):
  bias, RMSE, NMAD   of the monthly velocity against the simulated truth
  gross %            values wrong by more than 50 m/yr and 4 sigma
  <1s %, <2s %       how often the truth lies within the stated error (68 and 95 are ideal)

examples:
  hmavel demo
  hmavel demo --out /tmp/demo --jobs 4
"""

PAIR_EPILOG = """\
REF and SEC are the earlier and the later image: Band-8 GeoTIFFs, whose name or *_MTL.txt
beside them gives the date, or Landsat product folders or tars. http(s):// and s3:// addresses
of Band-8 files are read where they are.

output, in DIR:
  displacement.tif   east, north (m), snr, coherence, sigma_east, sigma_north, quality
  velocity.tif       vx, vy, v, sigma_vx, sigma_vy (m/yr)
  pair.json          ids, times, matching error before and after, verdict, configuration
  pair.png, ground.png  speed over the image; bare ground: error before and after, its sigmas

examples:
  hmavel pair ref/ sec/ --glaciers rgi.gpkg --out maps
      stable ground = bare ground outside the outlines, from the 30 m bands and QA
  hmavel pair A_B8.TIF B_B8.TIF --stable bedrock.shp --out maps
      stable ground = the polygons
  hmavel pair A_B8.TIF B_B8.TIF --window 64 --out maps
      larger windows: less noise and more reach, coarser detail
"""

RUN_EPILOG = """\
output, in the folder of the configuration:
  <glacier>/velocity_YYYY-MM.tif   the months, UTM, 120 m: vx vy v, their sigma, count, flag
  <glacier>/velocity.nc            the same as one CF NetCDF cube
  wgs84/velocity_YYYY-MM.tif       all glaciers in EPSG:4326
  <glacier>/network.json           errors of matches and scenes, closure, doubtful scenes
  scenes.csv, pairs.csv            what was used, what not, and why; each pair's verdict
  config.toml                      the resolved configuration

A second run does only what is missing or what a changed option makes different.

examples:
  hmavel run my.toml --dry-run     glaciers, scenes, pairs, CPU-hours and disk, without the
                                   work; and the same for all of High Mountain Asia
  hmavel run my.toml --jobs 8
"""

ITSLIVE_EPILOG = """\
The pairs are taken as ITS_LIVE has them: their error is what each pair shows on stable
ground, and what the pairs of one scene share is learnt. The output is that of hmavel run.
To join them with pairs that hmavel measures, set [itslive] sources in a configuration.

examples:
  hmavel itslive cube.nc --glaciers rgi.gpkg --out maps
  hmavel itslive granules/ --glaciers rgi.gpkg --out maps --months 2015-01:2020-12
"""

STATUS_EPILOG = """\
From another terminal, while it runs, or afterwards. The lines of all tasks, with the reasons
of failures, are in DIR/log.

examples:
  hmavel status hmavel-out
  watch hmavel status hmavel-out
"""

VERIFY_EPILOG = """\
Every product is compared with the checksum that was noted when it was written; a random
sample of pairs is computed again from the scenes and compared to the byte.

exit status: 0 all is well, 1 something is not (listed)

examples:
  hmavel verify hmavel-out
  hmavel verify hmavel-out --sample 20
"""

SCENES_EPILOG = """\
One line per glacier and scene: taken or not, the shares of the outline that are valid,
cloudy and snow-covered, and the reason. The same table is written to scenes.csv in the
output folder of the configuration, and a calendar of each glacier's scenes to
<glacier>/scenes.png there.

Scenes come from folders and tars ([input] archive), from STAC, Earth Engine exports and tables
of GeoTIFFs ([scenes] stac, earth_engine, csv): docs/sources.md has an example of each.

examples:
  hmavel scenes my.toml
  hmavel scenes my.toml --csv > scenes.csv
  hmavel scenes my.toml --export scenes.gpkg    frames, outlines, decisions, pairs for a GIS
"""

ASSESS_EPILOG = """\
MAP is a NetCDF file or a GeoTIFF with bands vx and vy, or two GeoTIFFs, vx then vy. Any
number of them; one that cannot be read is listed and the others are done.

output, in DIR:
  quality.csv, quality.json   for each map: bias, half-widths, outliers, shares, the verdict
  <map>.png                   the scatter over bare ground with its density and contour

examples:
  hmavel assess vx.tif vy.tif --stable bedrock.shp --days 32 --out quality
  hmavel assess S2*_vx.tif S2*_vy.tif ... --method glaft --stable bedrock.shp --out quality
      the numbers of GLAFT 1.0.0
  hmavel assess *.nc --stable rock.gpkg --ice inside.gpkg --unit m/yr --out quality
"""

CONFIG_EPILOG = """\
examples:
  hmavel config > my.toml
  hmavel config --out my.toml
"""
